"""Two sites as two users of one machine, each with files that only it can read."""

import dataclasses
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import sysconfig

import pytest

from f3ocus_jax.deployment import server_run
from f3ocus_jax.deployment.threads import Threads
from tests.helpers.deployments import Watch, of_server, of_site, write_hospitals
from tests.helpers.watched_site import OPENED, read_frame, write_frame

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
OTHERS = sorted(each.pw_uid for each in pwd.getpwall() if each.pw_uid > 0)
USERS = dict(zip(("Oslo", "Bern"), OTHERS, strict=False))
"""Two users that have names, as etils asks of the owner of a file."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users"),
    pytest.mark.skipif(len(OTHERS) < 2, reason="this machine has no two other users"),
]


def copy_interpreter(folder):
    """A copy of this Python without its packages, since its folder may be one user's alone."""
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    left_out = shutil.ignore_patterns("site-packages", "test", "__pycache__")
    shutil.copytree(library, folder / "lib" / library.name, ignore=left_out)
    for shared in pathlib.Path(sys.base_prefix, "lib").glob("libpython*.so*"):
        shutil.copy(shared, folder / "lib")
    return shutil.copy(os.path.realpath(sys.executable), folder / "python")


def as_user(user, root, arguments, **pipes):
    python = root / "interpreter"
    environment = {
        "HOME": str(root),
        "LD_LIBRARY_PATH": str(python / "lib"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHOME": str(python),
        "XLA_FLAGS": os.environ["XLA_FLAGS"],  # The last bits of drawn weights depend on them.
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), sysconfig.get_path("purelib")]),
    }
    return subprocess.Popen(
        [python / "python", *arguments],
        **pipes,
        user=user,
        group=user,
        extra_groups=[],
        env=environment,
        cwd=CHECKOUT,
    )


def give(folder, user):
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, user, user)
    folder.chmod(0o700)


def can(user, code, root):
    return as_user(user, root, ["-c", code], stderr=subprocess.DEVNULL).wait(300) == 0


@pytest.fixture
def root(tmp_path_factory):
    """Hospitals below a folder that every user may pass through."""
    folder = pathlib.Path("/tmp") / f"f3ocus-users-{os.getpid()}"
    write_hospitals(folder, list(USERS))
    copy_interpreter(folder / "interpreter")
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def start(root, name):
    settings = root / f"{name}.json"
    settings.write_text(json.dumps(dataclasses.asdict(of_site(root, name))), encoding="utf-8")
    give(root / name, USERS[name])
    arguments = ["-m", "tests.helpers.watched_site", settings, root / name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return as_user(USERS[name], root, arguments, **pipes)


def test_no_site_opens_a_file_of_the_other_and_the_server_none_of_either(root, tmp_path):
    if not can(USERS["Oslo"], "import f3ocus_jax", root):
        pytest.skip("another user cannot read the package")
    processes = {name: start(root, name) for name in USERS}
    look = f"import os; os.listdir({str(root / 'Bern')!r})"
    assert can(USERS["Bern"], look, root)
    assert not can(USERS["Oslo"], look, root)

    def answer_of(process):
        def answer(task):
            write_frame(process.stdin, task)
            answered = read_frame(process.stdout)
            assert answered is not None, "the process of the site has ended"
            return answered

        return answer

    sites = {name: answer_of(process) for name, process in processes.items()}
    with Threads(sites) as transport, Watch().watching() as opened:
        config = of_server(root, list(USERS), federated__rounds=1)
        records = server_run.run(config, tmp_path / "server", transport, with_figures=False)
    assert [client.client for client in records[-1].clients] == list(USERS)
    for process in processes.values():
        process.stdin.close()
        assert process.wait(300) == 0
        process.stdout.close()
    by_server = [path for _, path in opened]
    for name, other in (("Oslo", "Bern"), ("Bern", "Oslo")):
        by_site = json.loads((root / name / OPENED).read_text(encoding="utf-8"))
        assert any(path.startswith(str(root / name / "files")) for path in by_site)
        assert not any(path.startswith(str(root / other)) for path in by_site)
        assert not any(path.startswith(str(root / name)) for path in by_server)
