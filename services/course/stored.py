"""The names under which notes are stored: MongoDB's database and collection, and Redis's keys."""

DATABASE = "courses"  # where the URI of MongoDB names none
COLLECTION = "notes"

LATEST = "notes:latest"  # a list
COUNT = "notes:count"  # a number; with a colon and a field's name, a hash of numbers by text
OTHER = "other"  # as what texts are counted that have no place of their own in such a hash; apply.lua names it too
BATCHES = "notes:batches"  # and more keys that begin with it and a colon: see services/direct/apply.lua
