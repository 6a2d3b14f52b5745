"""How networks that learnt from photographs read a set of portraits: the world's, or anybody's."""
