"""The other published tools, each used on a case as its authors mean it, in an environment that has no Unpool."""

VERSIONS = {
    "torchtest2": "0.1.0",
    "preflight-ml": "0.1.1",
    "torch-audit": "0.3.0",
    "torcheck": "1.0.1",
    "torch-preflight": "0.5.0",
}
