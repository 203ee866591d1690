"""The command `askonce`: one file per subcommand, imported only when it is called, so that it starts at once."""
