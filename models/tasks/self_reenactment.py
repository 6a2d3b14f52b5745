"""Self reenactment: a portrait moves as its own video does, so that the frames are the answer."""

from models.tasks.reenactment import BATCH, METHOD, ask

__all__ = ["BATCH", "IS_SELF", "METHOD", "ask"]
IS_SELF = True
