"""werkzeug: the CPU seconds in which an uploaded file of 2 MB is parsed."""

import io
import json
import os
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, "src")
warnings.simplefilter("ignore")
from werkzeug.formparser import parse_form_data

HEAD = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
body = HEAD + (bytes(range(32, 127)) + b"\n") * 20_000 + b"\r\n--edge--\r\n"
request = {
    "REQUEST_METHOD": "POST",
    "CONTENT_TYPE": "multipart/form-data; boundary=edge",
    "CONTENT_LENGTH": str(len(body)),
    "wsgi.input": io.BytesIO(body),
}
started = time.process_time()
parse_form_data(request)
seconds = time.process_time() - started
Path(os.environ["PLAYBOOKS_RESULT"]).write_text(json.dumps({"metrics": {"seconds": seconds}}))
