"""The switches of torch's backends. Programs set them wherever they run; where there is no GPU they change nothing."""

from ferrograd.backends import cuda, cudnn, mps
