"""Properties here are about values, not about speed: a busy machine fails none of them."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
