"""Stock Tink beside ours. In the folder given: key, aad, segment, and NAME.plain with NAME.ours (our ciphertext).
Checks that Tink opens each NAME.ours, refuses it under other associated data, and writes NAME.tink for us to open."""

import base64
import json
import pathlib
import sys

import tink
from tink import json_proto_keyset_format, secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2 as pb
from tink.proto import common_pb2


def primitive(key: bytes, segment: int):
    value = pb.AesGcmHkdfStreamingKey(version=0, key_value=key)
    value.params.ciphertext_segment_size = segment
    value.params.derived_key_size = 32
    value.params.hkdf_hash_type = common_pb2.SHA256
    keyset = {
        "primaryKeyId": 1,
        "key": [
            {
                "keyData": {
                    "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
                    "keyMaterialType": "SYMMETRIC",
                    "value": base64.b64encode(value.SerializeToString()).decode(),
                },
                "outputPrefixType": "RAW",
                "keyId": 1,
                "status": "ENABLED",
            }
        ],
    }
    handle = json_proto_keyset_format.parse(json.dumps(keyset), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    streaming_aead.register()
    aad = (folder / "aad").read_bytes()
    cipher = primitive((folder / "key").read_bytes(), int((folder / "segment").read_text()))
    cases = sorted(folder.glob("*.plain"))
    assert cases, "no cases"
    for plain in cases:
        ours = plain.with_suffix(".ours")
        with cipher.new_decrypting_stream(ours.open("rb"), aad) as stream:
            assert stream.read() == plain.read_bytes(), f"{ours.name}: Tink reads something else"
        try:
            with cipher.new_decrypting_stream(ours.open("rb"), aad + b"x") as stream:
                stream.read()
        except (tink.TinkError, OSError):
            pass
        else:
            raise AssertionError(f"{ours.name}: Tink took other associated data")
        with cipher.new_encrypting_stream(plain.with_suffix(".tink").open("wb"), aad) as stream:
            stream.write(plain.read_bytes())
    print(f"{len(cases)} cases")


main()
