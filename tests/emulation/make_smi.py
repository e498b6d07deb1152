"""Makes an answer of nvidia-smi as long as that of a host with eight modern GPUs, to time with."""

import os

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "unit", "fixtures", "gpu")
CLOCKS = range(300, 2900)


def eight_gpus():
    """Return the XML of driver 580 for eight H100, each with the long list of clocks that it supports."""
    with open(os.path.join(FIXTURES, "v13-driver-580.xml"), encoding="utf-8") as file:
        xml = file.read().replace("<attached_gpus>1<", "<attached_gpus>8<")
    start, end = xml.index("\t<gpu "), xml.index("</nvidia_smi_log>")
    head, gpu, tail = xml[:start], xml[start:end], xml[end:]
    clocks = "".join(f"\t\t\t\t<supported_graphics_clock>{mhz} MHz</supported_graphics_clock>\n" for mhz in CLOCKS)
    start, end = gpu.index("\t\t\t\t<supported_graphics_clock>"), gpu.index("\t\t\t</supported_mem_clock>")
    gpu = gpu[:start] + clocks + gpu[end:]
    return head + "".join(gpu.replace("00000000:19:", f"00000000:{16 * n + 9:02X}:") for n in range(8)) + tail
