"""A thousand alerts to a thousand addresses, sent by one worker to a mail server in a process of its own."""

import os
import subprocess
import sys
from typing import Any

from bench import report
from bench.site import arguments, site

SINK = """
import asyncio, sys

class Sink(asyncio.Protocol):
    # Takes each mail at once and forgets it: what is measured is the sender.
    def connection_made(self, transport):
        self.transport, self.buffer, self.in_data = transport, b"", False
        transport.write(b"220 sink\\r\\n")

    def data_received(self, data):
        self.buffer += data
        while True:
            end = b"\\r\\n.\\r\\n" if self.in_data else b"\\r\\n"
            head, found, rest = self.buffer.partition(end)
            if not found:
                return
            self.buffer = rest
            if self.in_data:
                self.in_data = False
                self.transport.write(b"250 taken\\r\\n")
                continue
            word = head[:4].upper()
            self.in_data = word == b"DATA"
            self.transport.write(b"354 go on\\r\\n" if self.in_data else b"221 bye\\r\\n" if word == b"QUIT" else b"250 ok\\r\\n")

async def main():
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def main() -> None:
    parser = arguments(__doc__, runs=100_000)
    parser.add_argument("--mails", type=int, default=1_000)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    sink = subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout
        os.environ["EMAIL_URL"] = f"smtp://127.0.0.1:{int(sink.stdout.readline())}"
        with site(options):
            report.keep(options, "mails", *measure(options))
    finally:
        sink.terminate()
        sink.wait()


def measure(options: Any) -> tuple[str, dict[str, Any]]:
    from bench import data
    from monitoring.alerting.outbox import dispatch
    from monitoring.alerting.owing import Announcement, owe
    from monitoring.models import Alert, Delivery, Message, database_alias
    from monitoring.values.facts import AlertKind, Facts

    taken = []
    for _ in range(options.times):
        for model in (Delivery, Message, Alert):
            model.objects.all()._raw_delete("default")
        facts = Facts(
            kind=AlertKind.STATUS_MISMATCH,
            task_name="daily_report",
            current_status="Stopped",
            expected_statuses=("Completed",),
            lookback_hours=1.0,
            check_time=data.NOW,
            started_at=data.NOW,
            dependent_tasks=("dashboard", "invoices"),
        )
        owed = [Announcement(facts, (f"somebody-{n}@example.com",)) for n in range(options.mails)]
        owe(owed, data.NOW, database_alias())
        began = report.time.perf_counter()
        sent = len(dispatch(data.NOW).sent)
        taken.append(report.time.perf_counter() - began)
        assert sent == options.mails, f"{sent} of {options.mails} were sent"
    spread = report.spread(taken)
    rows = [[f"{options.mails:,} mails, composed and sent", spread["median"], spread["min"], spread["max"]]]
    return report.table(["ms", "median", "least", "most"], rows), spread


if __name__ == "__main__":
    main()
