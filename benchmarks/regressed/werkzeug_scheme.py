"""werkzeug: a redirect to itms-services loses two slashes."""

import sys
import warnings

sys.path.insert(0, "src")
warnings.simplefilter("ignore")
from werkzeug.utils import redirect

URL = "itms-services://?action=download-manifest&url=https://example.org/a.plist"
request = {
    "REQUEST_METHOD": "GET",
    "wsgi.url_scheme": "http",
    "HTTP_HOST": "example.org",
    "SERVER_NAME": "example.org",
    "SERVER_PORT": "80",
}
sys.exit(0 if redirect(URL).get_wsgi_headers(request)["Location"] == URL else 1)
