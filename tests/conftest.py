"""What many tests share: small networks, modules and real data."""

import fcntl
import os
import shutil
from pathlib import Path

# Before any test imports TensorFlow, as the commands do.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What XLA compiles here runs a few times: optimising it takes longer.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import gin  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

WORDNET = Path("/usr/share/wordnet")  # of Debian's wordnet-base


def missing(what: str) -> None:
    """Skips a test; in CI, where all is installed, fails it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and with CI=true nothing may be missing")
    pytest.skip(what)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    os.environ["KERAS_EXPERTS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def make_once(request, tmp_path_factory):
    """Makes a folder that all of xdist's workers read, and none writes to."""
    from keras_experts import files

    above = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        above = above.parent
    made = {}

    def state(folder):
        found = ((path, path.stat()) for path in folder.rglob("*"))
        return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found}

    def once(name, make):
        folder = above / name
        with open(above / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                with files.whole_folder(folder) as temporary:
                    make(temporary)
        made[folder] = state(folder)
        return folder

    yield once
    for folder, before in made.items():
        assert state(folder) == before, f"a test wrote to {folder}"


@pytest.fixture(autouse=True)
def no_gin_left():
    yield
    gin.clear_config()


@pytest.fixture(scope="session")
def wordnet():
    if not (WORDNET / "data.noun").exists():
        missing(f"WordNet is not at {WORDNET} (apt install wordnet-base)")
    return WORDNET


@pytest.fixture(scope="session")
def chromium():
    program = shutil.which("chromium")
    if program is None:
        missing("Chromium is not installed (apt install chromium)")
    return program


@pytest.fixture(scope="session")
def chrome(chromium):
    """The only browser of a process: playwright refuses a second one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-background-networking"],
        )
        yield program
        program.close()


@pytest.fixture
def shown(chrome):
    """Opens a file; what the page asks for or says is an error."""
    opened, said, asked = [], [], []

    def show(path, width=1280):
        page = chrome.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        opened.append((path, page))
        return page

    yield show
    for _, page in opened:
        page.close()
    assert said == []
    expected = {path.as_uri() for path, _ in opened}
    assert {url for url in asked if not url.startswith("data:")} == expected


@pytest.fixture(scope="session")
def data_dir():
    folder = os.environ.get("KERAS_EXPERTS_DATA")
    if not folder:
        pytest.skip("KERAS_EXPERTS_DATA names no folder of TFDS data sets")
    return folder


@pytest.fixture(scope="session")
def run_dir(make_once):
    """A run with a baseline and two adapter experts, all of two steps."""
    from keras_experts import config
    from keras_experts import domains
    from keras_experts import files
    from keras_experts.data import synthetic
    from keras_experts.training import experts
    from keras_experts.training import pretraining
    from tests.random_states import unchanged_random_state

    small = [
        "NUM_STEPS=2",
        "BATCH_SIZE=8",
        "cosine_schedule.warmup_steps=0",
        "synthetic_upstream.num_train=2",
        "synthetic_upstream.num_test=1",
        "Runtime.compile=False",
    ]

    def train(workdir):
        with unchanged_random_state():
            train_stages(workdir)

    def train_stages(workdir):
        hierarchy = synthetic.make_hierarchy()
        counts = dict.fromkeys(synthetic.CLASSES, 2)
        chosen = hierarchy.choose_experts(
            counts, 2, distinct=True, max_fraction=0.5
        )
        content = domains.experts_to_json("synthetic", chosen)
        files.write_json(workdir / "experts.json", content)
        config.parse(["stages/demo_baseline.gin"], small)
        pretraining.train_baseline(workdir)
        config.parse(["stages/demo_experts.gin"], small)
        experts.train_experts(workdir)

    return make_once("run", train)


@pytest.fixture(scope="session")
def collection(run_dir, make_once):
    """The run as a collection."""
    return make_once("collection", export_of(run_dir))


def export_of(run):
    """Makes the function that exports a run to a folder."""
    from keras_experts.exporting.collection import export_run
    from keras_experts.exporting.collection_writer import Publication

    return lambda output: export_run(run, output, Publication("acme"))


@pytest.fixture(scope="session")
def baseline_module(collection):
    return str(collection / "acme/experts/baseline/1")


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """Three classes of ten drawn images each, as PNG files."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog", "fish")):
        (folder / name).mkdir()
        for number in range(10):
            pixels = rng.integers(0, 120, (12, 10, 3)).astype(np.uint8)
            pixels[..., label] += 120
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def odd_folder(image_folder, tmp_path):
    """The folder of images with one file of each odd kind added.

    36 images are to be found, of three classes.
    """
    from PIL import Image

    photos = shutil.copytree(image_folder, tmp_path / "photos")
    dog = photos / "dog"
    images = [Image.open(path).copy() for path in sorted(dog.glob("*.png"))]

    def add(number, path, kind):
        path.parent.mkdir(parents=True, exist_ok=True)
        images[number].rotate(90, expand=True).save(path, kind)

    # Images under other endings, without one, and behind a link.
    add(0, dog / "a.ppm", "PPM")
    add(1, dog / "b.jp2", "JPEG2000")
    add(2, dog / "c.jpe", "JPEG")
    add(3, dog / "ending_of_none", "PNG")
    add(4, dog / "photo.dat", "WEBP")
    add(5, tmp_path / "outside" / "d.png", "PNG")
    (dog / "linked").symlink_to(tmp_path / "outside")
    # System folders with thumbnails in them, and system files.
    for name in ("@eaDir", ".thumbnails", "__MACOSX", "$RECYCLE.BIN"):
        add(6, photos / name / "a.png", "PNG")
    add(7, dog / ".ipynb_checkpoints" / "a.png", "PNG")
    for name in ("Thumbs.db", ".DS_Store", "._0.png", "desktop.ini"):
        (dog / name).write_bytes(b"system")
    # Files that are not images, and images that nothing reads.
    (dog / "notes.txt").write_bytes(b"BMW")
    (photos / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    os.mkfifo(dog / "pipe.png")
    (dog / "e.png").write_bytes((dog / "0.png").read_bytes()[:60])
    (dog / "f.jpg").write_bytes(b"")
    (dog / "g.heic").write_bytes(b"\0\0\0\x18ftypheic")
    add(8, dog / "h.nef", "TIFF")
    # Links that lead nowhere or round, and an image of no class.
    (dog / "self.png").symlink_to(dog / "self.png")
    (dog / "nowhere.png").symlink_to(dog / "nothing.png")
    (dog / "round").symlink_to(photos)
    add(9, photos / "loose.png", "PNG")
    return photos


@pytest.fixture(scope="session")
def text_files(make_once):
    """Upstream texts of five nodes with their hierarchy, and a task."""

    def make(folder):
        rng = np.random.default_rng(0)
        words = {
            "dog": "barks tail puppy leash bone",
            "cat": "meows whiskers kitten purrs paw",
            "oak": "acorn leaves timber bark shade",
            "rose": "petal thorn scent bloom red",
        }
        links = "animal dog\nanimal cat\nplant oak\nplant rose\n"
        (folder / "nodes.txt").write_text(links)
        for name, number in (("upstream", 30), ("task", 12)):
            lines = ["text,label"]
            for label, own in words.items():
                for _ in range(number):
                    chosen = rng.choice(own.split(), 3)
                    lines.append(f"{' '.join(chosen)} of {number},{label}")
            (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")

    return make_once("text_files", make)


@pytest.fixture(scope="session")
def text_run(make_once, text_files):
    """A run on texts with a baseline and two full experts, of two steps."""
    from keras_experts import config
    from keras_experts import domains
    from keras_experts import files
    from keras_experts.hierarchy import Hierarchy
    from keras_experts.training import experts
    from keras_experts.training import pretraining

    small = [
        "NUM_STEPS=2",
        "BATCH_SIZE=8",
        "cosine_schedule.warmup_steps=0",
        f"TEXTS={str(text_files / 'upstream.csv')!r}",
        f"HIERARCHY={str(text_files / 'nodes.txt')!r}",
    ]
    network = ["VOCABULARY_SIZE=120", "SEQ_LENGTH=8", "text_encoder.width=16"]

    def train(workdir):
        hierarchy = Hierarchy.from_is_a(text_files / "nodes.txt")
        counts = dict.fromkeys(("dog", "cat", "oak", "rose"), 24)
        chosen = hierarchy.choose_experts(counts, 2)
        content = domains.experts_to_json("nodes.txt", chosen)
        files.write_json(workdir / "experts.json", content)
        config.parse(["stages/wordnet_baseline.gin"], [*small, *network])
        pretraining.train_baseline(workdir)
        # The names of the network are known to both trainings.
        config.parse(["stages/wordnet_full.gin"], [*small, *network])
        experts.train_experts(workdir)

    return make_once("text_run", train)


@pytest.fixture(scope="session")
def text_collection(text_run, make_once):
    """The run on texts as a collection."""
    return make_once("text_collection", export_of(text_run))
