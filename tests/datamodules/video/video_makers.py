"""Small videos of every kind, whose frames say in grey which they are: frame i has the level 20 + 8 i in its middle."""

import struct
import subprocess
from pathlib import Path

import av
import numpy as np

FRAMES, HEIGHT, WIDTH = 24, 48, 64
X265 = "log-level=none:pools=1:keyint=8:min-keyint=8:scenecut=0:bframes=3:b-adapt=0:open-gop="
X264 = "scenecut=0:b-adapt=0:"
ENCODERS = {
    "h264": ("libx264", "yuv420p", {"g": "12", "bf": "3", "x264-params": X264}),
    "h264-open": ("libx264", "yuv420p", {"g": "8", "bf": "3", "x264-params": X264 + "open-gop=1"}),
    "h264-intra": ("libx264", "yuv420p", {"g": "1"}),
    "h264-long": ("libx264", "yuv420p", {"g": "250", "bf": "0"}),
    "h264-refresh": ("libx264", "yuv420p", {"g": "8", "bf": "0", "x264-params": X264 + "intra-refresh=1"}),
    "h265-open": ("libx265", "yuv420p", {"x265-params": X265 + "1"}),
    "h265": ("libx265", "yuv420p", {"x265-params": X265 + "0"}),
    "mpeg4": ("mpeg4", "yuv420p", {"g": "8", "bf": "2", "b": "3M"}),
    "mpeg2": ("mpeg2video", "yuv420p", {"g": "8", "bf": "2", "b": "3M"}),
    "vp8": ("libvpx", "yuv420p", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "7"}),
    "vp9": ("libvpx-vp9", "yuv420p", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}),
    "mjpeg": ("mjpeg", "yuvj420p", {}),
    "ffv1": ("ffv1", "yuv420p", {}),
    "wmv2": ("wmv2", "yuv420p", {"g": "8", "b": "3M"}),
    "gif": ("gif", "rgb8", {}),
}


def grey_frame(index: int) -> np.ndarray:
    """Corners red, green, blue and white from the top left on, and the number of the frame in between."""
    picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    rows, columns = HEIGHT // 4, WIDTH // 4
    picture[:rows, :columns], picture[:rows, -columns:] = (220, 30, 30), (30, 200, 30)
    picture[-rows:, :columns], picture[-rows:, -columns:] = (30, 30, 220), 240
    picture[rows:-rows, columns:-columns] = 20 + 8 * index
    return picture


def number(picture: np.ndarray) -> int:
    """Which frame an ``H W 3`` picture shows."""
    height, width = picture.shape[:2]
    middle = picture[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4]
    return round((float(middle.mean()) - 20) / 8)


def write(path: Path, coding: str, times: list[int] | None = None, audio: bool = False, **options: str) -> Path:
    """Encodes the frames; ``options`` are the container's, ``audio`` puts a stream of sound before them."""
    codec, pixels, coder = ENCODERS[coding]
    with av.open(path, "w", options=options) as container:
        if audio:
            sound = container.add_stream("mp2", rate=48000)
        stream = container.add_stream(codec, rate=25, options=coder)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        if audio:
            for start in range(0, 48000, 1152):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 2304), np.int16), format="s16", layout="stereo")
                frame.sample_rate, frame.pts = 48000, start
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(grey_frame(index), format="rgb24")
            frame.pts = times[index] if times else index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def copy(source: Path, path: Path, change, skip: int = 0, **options: str) -> Path:
    """Copies the packets from the ``skip``-th on, as ``ffmpeg -c copy`` does, each after ``change(packet, place)``."""
    with av.open(source) as old, av.open(path, "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        for place, packet in enumerate(packets[skip:], start=skip):
            change(packet, place)
            packet.stream = stream
            new.mux(packet)
    return path


def cut(source: Path, path: Path, key: int = 1, hidden: int = 3, **options: str) -> Path:
    """Cuts without encoding: begins with the given key packet, and puts time 0 so many frames after it."""
    with av.open(source) as old:
        packets = [packet for packet in old.demux(video=0) if packet.size]
        start = [place for place, packet in enumerate(packets) if packet.is_keyframe][key]
        begin = packets[start].pts + round(hidden / 25 / packets[start].time_base)

    def earlier(packet: av.Packet, place: int) -> None:
        packet.pts -= begin
        packet.dts -= begin

    return copy(source, path, earlier, skip=start, **options)


def set_matrix(path: Path, xx: int, xy: int, yx: int, yy: int) -> Path:
    """Writes the display matrix of an mp4: where a step to the right goes, in x and y, and a step down."""
    whole = bytearray(path.read_bytes())
    place = whole.index(b"tkhd") + 44
    whole[place : place + 36] = struct.pack(">9i", xx << 16, xy << 16, 0, yx << 16, yy << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(whole)
    return path


def in_order(path: Path) -> list[np.ndarray]:
    """What a plain decode from the start gives, errors passed over: the pictures as they are coded."""
    pictures = []
    with av.open(path) as container:
        for packet in container.demux(video=0):
            try:
                pictures += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
            except av.FFmpegError:
                continue
    return pictures


def shown_by(ffmpeg: str, path: Path) -> list[np.ndarray]:
    """What ffmpeg shows."""
    command = [ffmpeg, "-v", "quiet", "-i", path, "-fps_mode", "passthrough", "-f", "image2pipe", "-pix_fmt", "rgb24"]
    data = subprocess.run([*command, "-c:v", "ppm", "-"], stdin=subprocess.DEVNULL, capture_output=True).stdout
    pictures, place = [], 0
    while place < len(data):
        head = b"\n".join(data[place : place + 40].split(b"\n")[:3]) + b"\n"
        width, height = map(int, head.split()[1:3])
        start, place = place + len(head), place + len(head) + 3 * width * height
        pictures.append(np.frombuffer(data[start:place], np.uint8).reshape(height, width, 3))
    return pictures


def pixels(frame):
    return frame.permute(1, 2, 0).numpy()


def random_order(count, seed=0):
    return np.random.default_rng(seed).permutation(count).tolist()
