"""Every kind of file that a command reads: the smallest valid one, and the call of the command that reads it."""

from tests.broken import captures, clips, fits, outputs, released, tables, weights, worlds

ROOMS = (clips, fits, captures, tables, worlds, weights, released, outputs)
KINDS = {name: kind for room in ROOMS for name, kind in room.KINDS.items()}
