"""eSpeak NG through ctypes, as a script: sentences on the standard input, samples on the standard output.

It runs in a process of its own, because eSpeak NG keeps global state (voice, noise generator, echo, pitch flutter)
from one utterance to the next: only a fresh process that speaks the same sentences in the same order gives the same
samples. It imports nothing but the standard library, so it starts in hundredths of a second.

    python -I espeak.py LIBRARY DATA_FOLDER < requests.json > samples

``requests.json`` is a list of ``[voice, words_per_minute, pitch, range, text]``. For every one of them comes
the number of samples (uint32, little endian) and the samples (int16), at :data:`SAMPLE_RATE`.
"""

import ctypes
import json
import struct
import sys

SAMPLE_RATE = 22_050  # of every eSpeak NG voice; checked against what the library says

# From speak_lib.h
_SYNCHRONOUS = 2
_DONT_EXIT = 1 << 15
_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_OK = 0
_VOLUME_WITHOUT_CLIPPING = 40
_NOISE_SEED = 1


def main(library: str, data: str) -> None:
    """Speaks every sentence of the standard input."""
    lib = ctypes.CDLL(library)
    chunks: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def collect(wav, n_samples, events):
        if wav and n_samples > 0:
            chunks.append(ctypes.string_at(wav, 2 * n_samples))
        return 0

    rate = lib.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DONT_EXIT)
    if rate != SAMPLE_RATE:
        sys.exit(f"eSpeak NG must start at {SAMPLE_RATE} Hz, got {rate}")
    lib.espeak_ng_SetRandSeed(ctypes.c_long(_NOISE_SEED))  # it starts from the clock otherwise
    lib.espeak_SetSynthCallback(collect)
    for voice, words_per_minute, pitch, pitch_range, text in json.load(sys.stdin):
        if lib.espeak_SetVoiceByName(voice.encode()) != _OK:
            sys.exit(f"eSpeak NG has no voice {voice!r}")
        for parameter, value in (
            (_RATE, words_per_minute),
            (_VOLUME, _VOLUME_WITHOUT_CLIPPING),
            (_PITCH, pitch),
            (_RANGE, pitch_range),
        ):
            lib.espeak_SetParameter(parameter, value, 0)
        chunks.clear()
        spoken = text.encode() + b"\0"
        if lib.espeak_Synth(spoken, ctypes.c_size_t(len(spoken)), 0, 0, 0, _UTF8, None, None) != _OK:
            sys.exit(f"eSpeak NG did not say {text!r}")
        lib.espeak_Synchronize()
        samples = b"".join(chunks)
        sys.stdout.buffer.write(struct.pack("<I", len(samples) // 2) + samples)


if __name__ == "__main__":
    main(*sys.argv[1:])
