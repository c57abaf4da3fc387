"""The commands of a publisher."""

import math
import socket

from keras_experts.commands.shared import Misuse
from keras_experts.commands.shared import load_tensorflow
from keras_experts.commands.shared import print_json


def export(options) -> None:
    """Exports a run."""
    load_tensorflow()
    from keras_experts.console import print_table
    from keras_experts.exporting import site
    from keras_experts.exporting.collection import export_run
    from keras_experts.exporting.collection_writer import Publication

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
    """Serves a collection, or writes its pages."""
    try:
        import uvicorn

        from keras_experts.exporting.host import make_app
    except ModuleNotFoundError as error:
        raise Misuse(
            "serve needs the extra: pip install 'keras_experts[serve]'. "
            f"Received: {error}."
        ) from error
    app = make_app(options.collection, options.gcs_mirror)
    server = uvicorn.Server(
        uvicorn.Config(
            app, options.host, options.port, log_level="warning", lifespan="off"
        )
    )
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
        # Before the address is told, so that it answers at once.
        listening.listen()
        port = listening.getsockname()[1]
        print(f"http://{options.host}:{port}/", flush=True)
        server.run([listening])


def inspect(options) -> None:
    """Tells what a module is."""
    load_tensorflow()
    from keras_experts.console import print_table
    from keras_experts.saved_models import handles
    from keras_experts.saved_models import inspection

    found = inspection.inspect(handles.resolve(options.module))
    metadata = handles.read_metadata(options.module)
    parameters = sum(math.prod(shape) for _, _, shape in found.variables)
    content = {
        "module": options.module,
        "signatures": found.signatures,
        "num_variables": len(found.variables),
        "parameters": parameters,
        "num_bytes": found.num_bytes,
        "operations": found.operations,
        "metadata": metadata,
    }
    if print_json(options.json, content):
        return
    rows = [
        ("parameters", f"{parameters:,}"),
        ("variables", f"{len(found.variables):,}"),
        ("bytes", f"{found.num_bytes:,}"),
        *(
            (f"signature {name}, {side}", f"{key}: {tensor}")
            for name, signature in found.signatures.items()
            for side, tensors in signature.items()
            for key, tensor in tensors.items()
        ),
        *(
            (key, metadata[key])
            for key in ("kind", "domain", "dataset", "num_images", "image_size")
            if metadata.get(key) is not None
        ),
        *(
            (f"expert {place}", expert["name"])
            for place, expert in enumerate(metadata.get("experts", ()))
        ),
        *(
            (f"operation {name}", f"{what}: wants --trust")
            for name, what in found.operations.items()
        ),
    ]
    print_table(options.module, ("what", "value"), rows)
