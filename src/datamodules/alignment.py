"""Alignment of faces to the five-point template that recognisers are trained on."""

from __future__ import annotations

import torch
from torch.nn import functional as F

__all__ = [
    "ARCFACE_TEMPLATE",
    "align",
    "centre_crop",
    "centre_crop_matrix",
    "resize",
    "similarity_from_landmarks",
    "transform_points",
    "warp",
    "warp_image",
]

ARCFACE_TEMPLATE = torch.tensor(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=torch.float64,
)
"""float64 [5, 2], (x, y) pixels in a 112 x 112 crop: left eye, right eye, nose, left and right mouth corner
(Deng et al. 2019, after Liu et al. 2017)."""

_TEMPLATE_SIZE = 112
_MIN_MAGNIFICATION = 1e-4


def similarity_from_landmarks(
    landmarks: torch.Tensor, size: int = _TEMPLATE_SIZE, *, image_size: tuple[int, int] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit the rotation, scale and shift that bring landmarks closest to the template (Umeyama 1991, 2-D closed form).

    With both point sets centred, `a = sum(s . d) / sum |s|^2` and `b = sum(s x d) / sum |s|^2` give the least squares
    matrix `[[a, -b], [b, a]]`; it never mirrors.

    Args:
        landmarks: [N, 5, 2], (x, y) pixels in the order of the template.
        size: Side of the aligned crop in pixels; the template scales with it.
        image_size: Height and width of the images, for the fallback; `size` squared by default.

    Returns:
        float64 [N, 2, 3], maps image pixels to crop pixels (pixel centres at whole numbers); and bool [N], False
        where the points determine no similarity (all equal, or not finite): there the matrix is the one of
        `centre_crop`.
    """
    source = landmarks.to(torch.float64)
    target = ARCFACE_TEMPLATE.to(source.device) * (size / _TEMPLATE_SIZE)
    source_mean, target_mean = source.mean(1, keepdim=True), target.mean(0)
    s, d = source - source_mean, target - target_mean
    spread = s.square().sum((1, 2))
    a = (s * d).sum((1, 2)) / spread
    b = (s[..., 0] * d[:, 1] - s[..., 1] * d[:, 0]).sum(1) / spread
    linear = torch.stack([a, -b, b, a], -1).view(-1, 2, 2)
    shift = target_mean[:, None] - linear @ source_mean.mT
    matrices = torch.cat([linear, shift], -1)
    valid = matrices.isfinite().all(-1).all(-1) & (a.hypot(b) > _MIN_MAGNIFICATION) & (spread > 1e-6)
    height, width = image_size or (size, size)
    fallback = centre_crop_matrix(height, width, size).to(source.device)
    return torch.where(valid[:, None, None], matrices, fallback), valid


def warp(images: torch.Tensor, matrices: torch.Tensor, size: int) -> torch.Tensor:
    """Resample images through affine maps: exact bilinear interpolation, zero outside of the image.

    Args:
        images: Floating point [N, C, H, W].
        matrices: [N, 2, 3], maps image pixels (x, y) to output pixels, pixel centres at whole numbers.
        size: Side of the output in pixels.

    Returns:
        [N, C, size, size], dtype of `images`.
    """
    height, width = images.shape[-2:]
    last_row = matrices.new_tensor([0, 0, 1], dtype=torch.float64).expand(len(matrices), 1, 3)
    inverse = torch.linalg.inv(torch.cat([matrices.to(torch.float64), last_row], 1))
    to_unit = _unit_coordinates(width, height).to(inverse.device)
    from_unit = _unit_coordinates(size, size).inverse().to(inverse.device)
    theta = (to_unit @ inverse @ from_unit)[:, :2].to(images.dtype)
    grid = F.affine_grid(theta, [len(images), images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _unit_coordinates(width: int, height: int) -> torch.Tensor:
    """The map from pixels to grid_sample's [-1, 1], where the outermost pixels end; float64 [3, 3]."""
    return torch.tensor(
        [[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]], dtype=torch.float64
    )


def align(image: torch.Tensor, landmarks: torch.Tensor, size: int = _TEMPLATE_SIZE) -> torch.Tensor:
    """Align one decoded face to the template.

    Args:
        image: uint8 [H, W, C].
        landmarks: [5, 2], (x, y) pixels of `image`; if they determine no similarity the centre is taken.
        size: Side of the crop in pixels.

    Returns:
        uint8 [size, size, C], rounded half to even.
    """
    height, width = image.shape[:2]
    matrices, _ = similarity_from_landmarks(landmarks[None], size, image_size=(height, width))
    return warp_image(image, matrices[0], size)


def warp_image(image: torch.Tensor, matrix: torch.Tensor, size: int) -> torch.Tensor:
    """`warp` for one decoded image.

    Args:
        image: uint8 [H, W, C].
        matrix: [2, 3], maps image pixels to output pixels.
        size: Side of the output in pixels.

    Returns:
        uint8 [size, size, C], rounded half to even.
    """
    planes = image.movedim(-1, 0)[None].to(torch.float32)
    return warp(planes, matrix[None], size)[0].round_().clamp_(0, 255).to(torch.uint8).movedim(0, -1).contiguous()


def centre_crop(image: torch.Tensor, size: int) -> torch.Tensor:
    """Cut the largest square out of the middle and resize it (bilinear, antialiased).

    Args:
        image: uint8 [H, W, C].
        size: Side of the output in pixels.

    Returns:
        uint8 [size, size, C].
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return square.contiguous() if side == size else resize(square, size)


def resize(image: torch.Tensor, size: int) -> torch.Tensor:
    """Resize an image to a square (bilinear, antialiased).

    Args:
        image: uint8 [H, W, C].
        size: Side of the output in pixels.

    Returns:
        uint8 [size, size, C].
    """
    planes = image.movedim(-1, 0)[None].contiguous()
    resized = F.interpolate(planes, (size, size), mode="bilinear", antialias=True)
    return resized[0].movedim(0, -1).contiguous()


def centre_crop_matrix(height: int, width: int, size: int) -> torch.Tensor:
    """The affine map of `centre_crop`.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        size: Side of the output in pixels.

    Returns:
        float64 [2, 3], maps image pixels to output pixels, pixel centres at whole numbers.
    """
    side = min(height, width)
    scale = size / side
    shift_x, shift_y = (scale * (0.5 - (extent - side) // 2) - 0.5 for extent in (width, height))
    return torch.tensor([[scale, 0, shift_x], [0, scale, shift_y]], dtype=torch.float64)


def transform_points(points: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Map points [..., 2] by an affine matrix [2, 3]; the result has the dtype of `points`."""
    matrix = matrix.to(points.dtype)
    return points @ matrix[:, :2].mT + matrix[:, 2]
