import torch

import unpool


class Noisy(torch.utils.data.Dataset):  # a data set of your own: (noisy image, clean image)
    def __init__(self, count, seed):
        draws = torch.Generator().manual_seed(seed)
        self.clean = torch.rand(count, 1, 8, 8, generator=draws).repeat_interleave(4, 2).repeat_interleave(4, 3)
        self.noisy = (self.clean + 0.1 * torch.randn(self.clean.shape, generator=draws)).clamp(0, 1)

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, index):
        return self.noisy[index], self.clean[index]


metrics = unpool.train(task="denoising", train=Noisy(48, 0), val=Noisy(16, 1), overrides=["model.width=16"], epochs=2)
print(f"PSNR {metrics['psnr']:.1f} dB, report in {metrics['run']}/report.html")
