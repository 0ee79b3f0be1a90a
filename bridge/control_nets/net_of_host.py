"""What ControlNets of ours share that take the place of the user's ControlNet."""

from typing import Any

from comfy.controlnet import ControlNet


class NetOfHost(ControlNet):
    """It has the network and the settings (strength, range and so on) of another ControlNet.

    It is made as the host's ControlNet.copy makes one. As there, it has no net before it in a chain: the caller sets
    that.
    """

    def __init__(self, net: Any) -> None:
        # Given the network here, the host would put it into a second ModelPatcher.
        super().__init__(control_model=None, load_device=net.load_device, manual_cast_dtype=net.manual_cast_dtype)
        self.control_model = net.control_model
        self.control_model_wrapped = net.control_model_wrapped
        net.copy_to(self)
