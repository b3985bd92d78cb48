"""Disparity and flow as the bytes of their files, PFM and .flo; `data.dense_files` reads them."""

import struct

from torch import Tensor

UNKNOWN_FLOW = 1e10  # pixels


def pfm_bytes(disparity: Tensor) -> bytes:
    """A PFM of disparities (H, W): rows from the bottom, the lowest byte first, infinity where they are NaN.

    Example:
        >>> import torch
        >>> pfm_bytes(torch.tensor([[1.0]]))
        b'Pf\\n1 1\\n-1.0\\n\\x00\\x00\\x80?'
    """
    values = disparity.float().nan_to_num(nan=float("inf")).flip(0).contiguous().numpy().astype("<f4")
    return b"Pf\n%d %d\n-1.0\n" % (values.shape[1], values.shape[0]) + values.tobytes()


def flo_bytes(flow: Tensor) -> bytes:
    """A .flo file of a flow (2, H, W): u and v of each pixel, 1e10 where they are NaN.

    Example:
        >>> import torch
        >>> len(flo_bytes(torch.zeros(2, 3, 4)))
        108
    """
    values = flow.float().nan_to_num(nan=UNKNOWN_FLOW).permute(1, 2, 0).contiguous().numpy().astype("<f4")
    return b"PIEH" + struct.pack("<2i", values.shape[1], values.shape[0]) + values.tobytes()
