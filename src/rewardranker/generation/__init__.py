"""Task -> Sample: drawing programs from a language model in this process, or from a model server."""

from rewardranker.generation.api import sample
from rewardranker.generation.decoding import Decoded, StopCheck, decode
from rewardranker.generation.extraction import assemble_program, extract_code
from rewardranker.generation.files import sample_to_file
from rewardranker.generation.openai_client import OpenAIClient
from rewardranker.generation.openai_sampler import OpenAISampler
from rewardranker.generation.recording import CHAT_INSTRUCTION
from rewardranker.generation.sampler import TransformersSampler
from rewardranker.generation.spread import sample_together
from rewardranker.generation.streams import RandomStream, random_streams

__all__ = [
    "CHAT_INSTRUCTION",
    "Decoded",
    "OpenAIClient",
    "OpenAISampler",
    "RandomStream",
    "StopCheck",
    "TransformersSampler",
    "assemble_program",
    "decode",
    "extract_code",
    "random_streams",
    "sample",
    "sample_to_file",
    "sample_together",
]
