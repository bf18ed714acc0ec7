"""Convolutional networks that pytorchcv builds, at sizes that one core prunes in seconds.

Its `model_provider` wants torchvision for one video model, so each network is taken from its own module.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from builders.torch_export import Inputs, Net
from torch import nn

CLASSES = 100

IMAGE_NETS = """
alexnet.alexnet:96 vgg.bn_vgg16:64 resnet.resnet18:64! resnet.resnet50:64 preresnet.preresnet18_wd2:64!
resnext.resnext14_32x4d:64! seresnet.seresnet18:64 senet.senet16:64 cbamresnet.cbam_resnet18:64!
bamresnet.bam_resnet18:64! sknet.sknet50:64 resnesta.resnestabc14:64! scnet.scnet50:128 diaresnet.diaresnet10:64!
diapreresnet.diapreresnet10:64 sharesnet.sharesnet18:64! ibnresnet.ibn_resnet50:64 ibnbresnet.ibnb_resnet50:64
isqrtcovresnet.isqrtcovresnet18:64! bagnet.bagnet9:64 drn.drnc26:64 regnet.regnetx002:64 regnet.regnety002:64!
revnet.revnet38:64! densenet.densenet121:64! xdensenet.xdensenet121_2:64 condensenet.condensenet74_c4_g4:64!
sparsenet.sparsenet121:64 dpn.dpn68:224 dla.dla46c:64! dla.dla34:64 hardnet.hardnet39ds:64! vovnet.vovnet27s:64!
peleenet.peleenet:64! hrnet.hrnet_w18_small_v1:64 selecsls.selecsls42:64 squeezenet.squeezenet_v1_0:224!
squeezenext.sqnxt23_w1:96 mobilenet.mobilenet_wd4:64! mobilenetv2.mobilenetv2_wd2:64!
mobilenetv3.mobilenetv3_small_w1:64! mobilenetv3.mobilenetv3_large_w1:64
efficientnet.efficientnet_b0:224! efficientnet.efficientnet_b0b:224!
mnasnet.mnasnet_small:64! mnasnet.mnasnet_b1:64 fbnet.fbnet_cb:64 proxylessnas.proxylessnas_mobile:64
spnasnet.spnasnet:64 mixnet.mixnet_s:64! ghostnet.ghostnet:64! shufflenet.shufflenet_g3_wd4:64!
shufflenet.shufflenet_g3_w1:64 shufflenetv2.shufflenetv2_wd2:64! shufflenetv2b.shufflenetv2b_wd2:64!
menet.menet108_8x1_g3:64! igcv3.igcv3_wd4:64! espnetv2.espnetv2_wd2:64! dicenet.dicenet_wd5:64! dicenet.dicenet_w1:64
channelnet.channelnet:64! inceptionv3.inceptionv3:139 bninception.bninception:64 xception.xception:299
darts.darts:96 octresnet.octresnet10_ad2:64! inceptionv4.inceptionv4:139
inceptionresnetv2.inceptionresnetv2:139
"""
"""module.function:size, with a mark where both exporters write it; the others by the older one alone."""

CIFAR_NETS = """
resnet_cifar.resnet56_cifar10:32! resnet_cifar.resnet20_cifar10:32 preresnet_cifar.preresnet20_cifar10:32!
seresnet_cifar.seresnet20_cifar10:32! resnext_cifar.resnext20_16x4d_cifar10:32!
pyramidnet_cifar.pyramidnet110_a48_cifar10:32! densenet_cifar.densenet40_k12_cifar10:32! wrn_cifar.wrn16_10_cifar10:32
xdensenet_cifar.xdensenet40_2_k24_bc_cifar10:32! rir_cifar.rir_cifar10:32!
ror_cifar.ror3_56_cifar10:32 shakeshakeresnet_cifar.shakeshakeresnet20_2x16d_cifar10:32! nin_cifar.nin_cifar10:32!
msdnet_cifar10.msdnet22_cifar10:32!
"""

DENSE_NETS = """
unet.unet_cityscapes:64! linknet.linknet_cityscapes:64 erfnet.erfnet_cityscapes:64! segnet.segnet_cityscapes:64!
enet.enet_cityscapes:64! cgnet.cgnet_cityscapes:128! lednet.lednet_cityscapes:128! sinet.sinet_cityscapes:128!
dabnet.dabnet_cityscapes:128 fastscnn.fastscnn_cityscapes:128! contextnet.ctxnet_cityscapes:128
espcnet.espcnet_cityscapes:128! bisenet.bisenet_resnet18_celebamaskhq:64!
deeplabv3.deeplabv3_resnetd50b_voc:96 pspnet.pspnet_resnetd50b_voc:96 fcn8sd.fcn8sd_resnetd50b_voc:96
danet.danet_resnetd50b_cityscapes:96 centernet.centernet_resnet18_coco:64!
lwopenpose_cmupan.lwopenpose2d_mobilenet_cmupan_coco:64! lffd.lffd20x5s320v2_widerface:128!
nasnet.nasnet_4a1056:224 simplepose_coco.simplepose_resnet18_coco:64! superpointnet.superpointnet:64! prnet.prnet:64
"""


def cnns() -> list[Net]:
    """All of them."""
    nets = [_entry(word, _classifier) for word in IMAGE_NETS.split()]
    nets += [_entry(word, _plain) for word in CIFAR_NETS.split()]
    nets += [_entry(word, _plain) for word in DENSE_NETS.split()]
    nets.append(Net("quartznet5x5", _speech("quartznet", "quartznet5x5_en_ls"), free={"x": {0: "batch", 2: "time"}}))
    nets.append(Net("raft_small", _flow))
    return nets


def _entry(word: str, build: Callable[..., tuple[nn.Module, Inputs]]) -> Net:
    place, size = word.rstrip("!").split(":")
    module, function = place.split(".")
    exporters = ("legacy", "dynamo") if word.endswith("!") else ("legacy",)
    return Net(function, partial(build, module, function, int(size)), free={"x": {0: "batch"}}, exporters=exporters)


def _make(module: str, function: str, **kwargs: Any) -> nn.Module:
    return getattr(importlib.import_module(f"pytorchcv.models.{module}"), function)(**kwargs)


def _plain(module: str, function: str, size: int) -> tuple[nn.Module, Inputs]:
    channels = 1 if function == "superpointnet" else 3
    fixed = {} if function in ("superpointnet", "nasnet_4a1056") else {"in_size": (size, size)}
    return _make(module, function, **fixed), {"x": torch.randn(2, channels, size, size)}


def _classifier(module: str, function: str, size: int) -> tuple[nn.Module, Inputs]:
    """Pools whatever is left of the smaller picture, and has fully connected layers to match."""
    net = _make(module, function, in_size=(size, size), num_classes=CLASSES)
    if isinstance(getattr(net.features, "final_pool", None), nn.AvgPool2d):
        net.features.final_pool = nn.AdaptiveAvgPool2d(1)
    if module in ("vgg", "alexnet", "zfnet"):
        _fit_dense(net, size)
    return net, {"x": torch.randn(2, 3, size, size)}


def _fit_dense(net: nn.Module, size: int, width: int = 512) -> None:
    """The dense layers that follow a flattened picture of this size, `width` wide."""
    with torch.no_grad():
        previous = net.features(torch.zeros(1, 3, size, size)).flatten(1).shape[1]
    for name, layer in list(net.output.named_modules()):
        if isinstance(layer, nn.Linear):
            out = CLASSES if layer.out_features == CLASSES else width
            parent = net.output.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.Linear(previous, out))
            previous = out


class _Speech(nn.Module):
    """A speech net on whole utterances."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x, torch.full((x.shape[0],), x.shape[2]))[0]


def _speech(module: str, function: str) -> Callable[[], tuple[nn.Module, Inputs]]:
    def build() -> tuple[nn.Module, Inputs]:
        net = _make(module, function, in_channels=64, from_audio=False)
        return _Speech(net), {"x": torch.randn(2, 64, 64)}

    return build


def _flow() -> tuple[nn.Module, Inputs]:
    net = _make("raft", "raft_small", iters=2)
    return net, {"x": torch.randn(1, 3, 128, 128), "second": torch.randn(1, 3, 128, 128)}
