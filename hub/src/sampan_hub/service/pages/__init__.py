"""What people look at: their work, everything (administrators), logs, the API. Nothing here decides about jobs."""
