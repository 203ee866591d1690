"""What a call may cost at most, roughly, before it is made."""

from askonce.domain.call import Call
from askonce.domain.content import text_of
from askonce.domain.money import Price
from askonce.domain.usage import Usage

# Few texts have more tokens than a third of their bytes (English and code have a quarter, dense symbols a half).
BYTES_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 8  # the role and its marks; 4 at OpenAI, more in some templates
# What an answer is taken to have where the caller sets no bound: longer ones are rare for code.
ASSUMED_ANSWER_TOKENS = 4096


def estimate_nano(call: Call, price: Price) -> int:
    """Estimate a call's cost in nano-dollars, on the high side.

    ⌈bytes of the messages ÷ 3⌉ + 8 per message at the input's price, plus `maxTokens` (4,096 without) at the output's;
    nothing is taken to be in the vendor's prompt cache.
    """
    size = sum(len(text_of(message.content).encode("utf-8", "surrogatepass")) for message in call.messages)
    prompt = -(-size // BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * len(call.messages)
    limit = call.params.max_tokens
    return price.cost_nano(Usage(prompt, ASSUMED_ANSWER_TOKENS if limit is None else limit))
