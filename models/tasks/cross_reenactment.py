"""Cross reenactment: a portrait moves as another person's video does."""

from models.tasks.reenactment import BATCH, METHOD, ask

__all__ = ["BATCH", "IS_SELF", "METHOD", "ask"]
IS_SELF = False
