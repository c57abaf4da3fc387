"""The commands of a publisher."""

import math
import socket
from pathlib import Path

from keras_experts.commands.shared import Misuse
from keras_experts.commands.shared import give_json
from keras_experts.commands.shared import load_tensorflow

# What of a module's metadata `inspect` prints.
TOLD = ("kind", "domain", "dataset", "num_images", "image_size", "seq_length")
TOLD += ("preprocessor",)
# After a signal to stop, running downloads have this long to end.
SHUTDOWN_SECONDS = 3


def export(options) -> None:
    """Exports a run."""
    load_tensorflow()
    from keras_experts.console import print_table
    from keras_experts.exporting import site
    from keras_experts.exporting.collection import export_run
    from keras_experts.exporting.collection_writer import Publication

    if options.site:
        site.check_output(options.site)  # before all the work
    publication = Publication(
        options.publisher,
        options.name,
        options.license,
        options.base_url,
        options.samples,
    )
    rows = export_run(
        options.workdir, options.output, publication, options.storage
    )
    print_table(
        f"Collection in {options.output}",
        ("handle", "kind", "archive, MB"),
        [
            (row["handle"], row["kind"], f"{row['num_bytes'] / 1e6:,.1f}")
            for row in rows
        ],
    )
    if options.site:
        site.write_site(options.output, options.site)
        print(f"site {options.site}")


def add_expert(options) -> None:
    """Adds an expert to an exported bank, as its next version."""
    load_tensorflow()
    from keras_experts.exporting import editing

    print(editing.add_expert(options.collection, options.bank, options.module))


def remove_expert(options) -> None:
    """Removes an expert from an exported bank, as its next version."""
    load_tensorflow()
    from keras_experts.exporting import editing

    print(
        editing.remove_expert(options.collection, options.bank, options.expert)
    )


def serve(options) -> None:
    """Serves a collection, or a fine-tuned classifier."""
    try:
        import uvicorn

        app = _make_app(options)
    except ModuleNotFoundError as error:
        raise Misuse(
            "serve needs the extra: pip install 'keras_experts[serve]'. "
            f"Received: {error}."
        ) from error
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            options.host,
            options.port,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )
    is_ipv6 = ":" in options.host
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    address = (options.host, options.port)
    # It listens before the address is told, so that it answers at once.
    with socket.create_server(address, family=family) as listening:
        port = listening.getsockname()[1]
        host = f"[{options.host}]" if is_ipv6 else options.host
        print(f"http://{host}:{port}/", flush=True)
        server.run([listening])


def _make_app(options):
    from keras_experts.saved_models import handles

    if handles.is_saved_model(Path(options.collection) / "module"):
        if options.gcs_mirror is not None:
            raise Misuse(
                "--gcs_mirror is for collections. "
                f"Received: {options.collection!r}, a fine-tuned classifier."
            )
        load_tensorflow()
        from keras_experts.evaluation import classifier_host

        return classifier_host.make_app(options.collection)
    from keras_experts.exporting import host

    return host.make_app(options.collection, options.gcs_mirror)


def inspect(options) -> None:
    """Prints what a module is."""
    load_tensorflow()
    from keras_experts.console import print_table
    from keras_experts.saved_models import handles
    from keras_experts.saved_models import inspection
    from keras_experts.saved_models import keras_files
    from keras_experts.saved_models import references

    path = options.module
    if not keras_files.is_keras_file(path):
        path = handles.resolve(path)
    found = inspection.inspect(Path(path))
    metadata = handles.read_metadata(options.module)
    _, expert = references.split(options.module)
    if expert is not None and metadata.get("kind") == handles.BANK:
        handles.check_expert(metadata, expert, options.module)
    content = {
        "module": options.module,
        "call": found.call,
        "signatures": found.signatures,
        "num_variables": len(found.variables),
        "parameters": sum(math.prod(v[2]) for v in found.variables),
        "num_bytes": found.num_bytes,
        "operations": found.operations,
        "metadata": metadata,
    }
    if options.cost:
        content["flops"] = _flops(options.module)
    if give_json(options.json, content):
        return
    rows = _inspection_rows(content)
    print_table(options.module, ("what", "value"), rows)


def _flops(module: str) -> int:
    from keras_experts.saved_models import handles
    from keras_experts.saved_models.cost import measure_cost
    from keras_experts.saved_models.cost import measure_encoder
    from keras_experts.saved_models.keras_files import is_keras_file
    from keras_experts.saved_models.loading import load_module

    if is_keras_file(module):
        from keras_experts.saved_models.keras_models import load_network

        network = load_network(module)
        return measure_cost(network, handles.image_size(module)).flops
    if handles.read_metadata(module).get("preprocessor"):
        length = handles.read_metadata(module)["seq_length"]
        return measure_encoder(load_module(module), length).flops
    return measure_cost(load_module(module), handles.image_size(module)).flops


def _inspection_rows(content: dict) -> list[tuple[str, object]]:
    metadata = content["metadata"]
    cost = []
    if "flops" in content:
        cost = [("operations of an example", f"{content['flops']:,}")]
    return [
        ("parameters", f"{content['parameters']:,}"),
        ("variables", f"{content['num_variables']:,}"),
        ("bytes", f"{content['num_bytes']:,}"),
        *cost,
        *(
            (f"call, {side}", tensors)
            for side, several in content["call"].items()
            for tensors in several
        ),
        *(
            (f"call, {side}", value)
            for side, values in content["call"].items()
            for value in values
        ),
        *(
            (f"signature {name}, {side}", f"{key}: {tensor}")
            for name, signature in content["signatures"].items()
            for side, tensors in signature.items()
            for key, tensor in tensors.items()
        ),
        *(
            (key, metadata[key])
            for key in TOLD
            if metadata.get(key) is not None
        ),
        *(
            (f"expert {place}", expert["name"])
            for place, expert in enumerate(metadata.get("experts", ()))
        ),
        *(
            (f"operation {name}", f"{what}: wants --trust")
            for name, what in content["operations"].items()
        ),
    ]
