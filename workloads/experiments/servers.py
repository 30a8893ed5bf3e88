"""Whether any server takes part in a product's experiments.

Those do that follow an alias of the registry: they load the challenger beside the champion, and ask
the definition whose turn it is. A server of one version only cannot, and neither can Vertex AI's
endpoint, which draws for each request anew.
"""

from __future__ import annotations

from typing import Final

from workloads import gcp
from workloads.product import Product

ALIAS: Final = "MODEL_ALIAS"


class NobodyFollows(LookupError):
    """No server of the product would give the challenger any key."""


def require_follower(product: Product) -> None:
    """
    Raises:
        NobodyFollows: the product's prediction API does not exist, or answers with one version.
    """
    from googleapiclient.errors import HttpError

    name = f"projects/{gcp.project()}/locations/{gcp.location()}/services/{product.name}-api"
    services = gcp.run().projects().locations().services()
    elsewhere = (
        "where servers of your own follow the registry (MODEL_ALIAS is set), say so: --elsewhere"
    )
    try:
        service = services.get(name=name).execute()
    except HttpError as error:
        if error.status_code != 404:
            raise
        raise NobodyFollows(
            f"nobody would take part: there is no Cloud Run service {name}, which a stack has "
            f"where `serving.api` is true; {elsewhere}"
        ) from error
    containers = service.get("template", {}).get("containers", [])
    if not any(one["name"] == ALIAS for each in containers for one in each.get("env", [])):
        raise NobodyFollows(
            f"nobody would take part: {name} answers with one version a revision, as releases with "
            f"the target `{product.serving.target}` leave it; {elsewhere}"
        )
