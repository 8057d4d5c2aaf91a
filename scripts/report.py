"""``cohort report`` from a checkout, which need not be installed."""

import _checkout

if __name__ == "__main__":
    _checkout.run("report")
