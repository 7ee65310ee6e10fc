"""The usual recipe for MNIST, as PyTorch's example (github.com/pytorch/examples, `mnist`) has it.

    python bench/recipe.py --data DIR --epochs 14 --output mnist_cnn.pt     # DIR/MNIST/raw holds MNIST

It is what `train_ann.py` is compared with (`first_model.py`), so it uses nothing of the toolkit. After each
epoch it saves the network, and prints when it did, how long measuring has taken until then, and the share of
test images that it reads.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def train(model: Net, loader: DataLoader, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(images), labels)
        loss.backward()
        optimizer.step()


def test(model: Net, loader: DataLoader) -> float:
    model.eval()
    with torch.no_grad():
        right = sum((model(images).argmax(dim=1) == labels).sum().item() for images, labels in loader)
    return right / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--output", default="mnist_cnn.pt")
    arguments = parser.parse_args()

    torch.manual_seed(1)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train_set = datasets.MNIST(arguments.data, train=True, transform=transform)
    test_set = datasets.MNIST(arguments.data, train=False, transform=transform)
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=1000)

    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    measuring = 0.0
    for epoch in range(1, arguments.epochs + 1):
        train(model, train_loader, optimizer)
        scheduler.step()
        torch.save(model.state_dict(), arguments.output)
        saved = time.time()
        accuracy = test(model, test_loader)
        print(
            json.dumps({"epoch": epoch, "saved": saved, "measuring": measuring, "accuracy": accuracy}),
            flush=True,
        )
        measuring += time.time() - saved


if __name__ == "__main__":
    main()
