"""Submits a job to NVFlare's server, waits for its end and prints its status.

usage: python -m tests.helpers.nvflare_submit USER KIT JOB
"""

import sys


def main(user: str, kit: str, job: str) -> None:
    """Submits and waits."""
    from nvflare.fuel.flare_api.flare_api import new_secure_session  # It need not be installed.

    session = new_secure_session(user, kit)
    try:
        number = session.submit_job(job)
        session.monitor_job(number, timeout=1800)
        print(session.get_job_meta(number)["status"])
    finally:
        session.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
