"""The load test: a pool of notes, Locust users that post them, and the judgement of what came back."""
