"""A large file on its whole way, with the memory of every process measured: nodes, Kubo daemons and a wallet."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from files_flow import Noise, announce, send
from memory_peaks import measured_growth
from node_fixtures import Network
from node_processes import as_processes, wait_until
from records_flow import Case
from wallet_flow import PASSPHRASE, Person

from vocabulary import Category, Purpose
from wire.staff import FileUpload, Publication, ReadRequest, ReadResponse

FILE = Noise(96 * 2**20)
WARM_UP = Noise(3 * 2**20, "warm-up")
MOST_GROWTH_MIB = 64
"""A third less than the file; with a file of 300 MiB the growth is the same (scripts/bench/large.py)."""
SAVE = """
import sys
from dataclasses import dataclass
from pathlib import Path
from wallet import Wallet
directory = Path(sys.argv[3])
with Wallet.open(Path(sys.argv[1]), sys.argv[2]) as wallet:
    for record in wallet.records().records:
        wallet.read(record.record_id, directory / record.record_id.hex())
        peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
        print(peak, flush=True)
"""


@dataclass(frozen=True)
class Pseudonym:
    """A patient whose keys a wallet holds."""

    address: bytes


def publish(case: Case, file: Noise) -> None:
    upload = FileUpload.model_validate_json(announce(case, file).content)
    answer = send(case.provider, upload.upload_id or "", iter(file))
    assert answer.status_code == 200, answer.text
    publication = Publication.model_validate_json(answer.content)

    def published() -> bool:
        path = f"/staff/publications/{publication.publication_id}"
        return case.provider.call("GET", path, staff=True).json()["state"] == "published"

    wait_until(published, "the publication is final")


def fetch_all(case: Case, reader: object, limit_bytes: int) -> int:
    """Reads all that is permitted; returns how many bytes of files came."""
    request = ReadRequest(patient=case.patient.address, purpose=Purpose.TREAT)
    answer = reader.call("POST", "/staff/reads", request, staff=True)
    received_bytes = 0
    for record in ReadResponse.model_validate_json(answer.content).records:
        if record.download is None or record.download.content_bytes > limit_bytes:
            continue
        path = f"{reader.url}/staff/downloads/{record.download.download_id}"
        headers = {"Authorization": f"Bearer {reader.staff_token}", "Accept-Encoding": "identity"}
        with reader.http.stream("GET", path, headers=headers) as response:
            received_bytes += sum(len(piece) for piece in response.iter_raw(2**20))
    return received_bytes


def check_flat_memory(network: Network, directory: Path) -> None:
    """Publishes, fetches and saves ``FILE``; no process may grow by ``MOST_GROWTH_MIB`` meanwhile."""
    person = Person.begin(network, directory)
    provider, reader = network.members[:2]
    pseudonym = Pseudonym(person.wallet.relationships[0].patient)
    case = Case(network, provider, pseudonym, person.numbers[provider.name])  # type: ignore[arg-type]
    person.grant(reader, Category.IMAGING)
    person.wallet.close()
    daemons = () if network.swarm is None else network.swarm.daemons
    with as_processes(network) as nodes:
        pids = [node.process_id for node in nodes if node.process_id is not None]
        pids += [process.pid for daemon in daemons if (process := daemon.background.process())]
        # What is imported and set up once is no growth with a file's size.
        publish(case, WARM_UP)
        wait_until(
            lambda: fetch_all(case, reader, WARM_UP.size_bytes) == WARM_UP.size_bytes, "the reader saw it"
        )

        with measured_growth(pids) as publishing:
            publish(case, FILE)
        with measured_growth(pids) as reading:
            wait_until(
                lambda: fetch_all(case, reader, FILE.size_bytes) == WARM_UP.size_bytes + FILE.size_bytes,
                "the reader fetched both",
            )
        saved = directory / "saved"
        saved.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", SAVE, str(person.path), PASSPHRASE, str(saved)],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
        )
    after_warm_up_kib, after_file_kib = map(int, done.stdout.split())
    assert sorted(path.stat().st_size for path in saved.iterdir()) == [WARM_UP.size_bytes, FILE.size_bytes]
    assert max(publishing.growth_mib) < MOST_GROWTH_MIB, publishing
    assert max(reading.growth_mib) < MOST_GROWTH_MIB, reading
    assert (after_file_kib - after_warm_up_kib) // 1024 < MOST_GROWTH_MIB
