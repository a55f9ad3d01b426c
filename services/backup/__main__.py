"""`python3 -m backup save DIRECTORY`, `load DIRECTORY [--overwrite]`, or `check DIRECTORY`: whether notes are there."""

import argparse
import os
import sys
from pathlib import Path

from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from backup.files import Damaged
from backup.load import Refused, load, refuse_notes
from backup.save import Incomplete, save
from backup.stores import Unreachable, connect
from course.settings import BadSetting


def main() -> None:
    """Does what the command line asks for."""
    parser = argparse.ArgumentParser(prog="backup")
    parser.add_argument("what", choices=["save", "check", "load"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--overwrite", action="store_true", help="load, even if that removes notes that are there")
    arguments = parser.parse_args()
    try:
        stores = connect(os.environ)
        if arguments.what == "save":
            save(arguments.directory, *stores)
        elif arguments.what == "check":
            refuse_notes(stores[0])
        else:
            load(arguments.directory, *stores, overwrite=arguments.overwrite)
    except (BadSetting, Damaged, Incomplete, Refused, Unreachable) as problem:
        sys.exit(str(problem))
    except (PyMongoError, RedisError, OSError) as problem:
        sys.exit(f"The {arguments.what} ended with an error, {type(problem).__name__}: {problem}")


main()
