import torch

import unpool


class Stripes(torch.utils.data.Dataset):  # a data set of your own: (image, number of its class)
    def __init__(self, count, seed):
        self.noise = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        bars = (torch.arange(32) // 4 % 2).float()
        return 0.5 * self.noise[index] + 0.4 * (bars if index % 2 else bars[:, None]), index % 2


train, val, classes = Stripes(96, seed=0), Stripes(32, seed=1), ["level", "upright"]
metrics = unpool.train(task="classification", train=train, val=val, classes=classes, epochs=2)
print(f"top-1 {metrics['top1']:.2f}, report in {metrics['run']}/report.html")
