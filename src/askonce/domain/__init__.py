"""The language of Askonce: frozen values, closed sets and ports. Imports the standard library and msgspec only."""
