"""Account of a site on disk: what it has released of its examples, also in rounds done again."""

import json
import pathlib

from f3ocus_jax.errors import DataError
from f3ocus_jax.privacy.account import Account
from tfds_medvqa.common import whole_file

FILE = "account.json"


def read(folder: pathlib.Path, start: Account) -> Account:
    """Returns the account that an earlier process of a site has left.

    Args:
      folder: Folder of the site.
      start: Account of a site that has released nothing.

    Returns:
      The account with what was released before; `start` where there is no file.

    Raises:
      DataError: If the file holds no account. What was released is then unknown.
    """
    path = folder / FILE
    if not path.exists():
        return start
    try:
        scores, steps = (
            int(json.loads(path.read_text(encoding="utf-8"))[name]) for name in ("scores", "steps")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} holds no account of what the site has released; restore it from a backup"
        ) from error
    return start.add(scores=scores, steps=steps)


def write(folder: pathlib.Path, account: Account) -> None:
    """Writes an account in one step, before what it counts leaves the site.

    Args:
      folder: Folder of the site.
      account: Its account.
    """
    counts = {"scores": account.scores, "steps": account.steps}
    whole_file.write(folder / FILE, json.dumps(counts))
