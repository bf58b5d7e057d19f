"""Laws of the identity guard."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from facerestore.faces.guard import FLOOR, NOBODY, steady_strengths, strength_for

likenesses = some.arrays(np.float64, st.integers(1, 200), elements=st.floats(-1, 1))


@given(likenesses, st.sampled_from([5.0, 24.0, 60.0]))
def test_smoothing_never_trusts_more_than_a_frame_allows(likeness, rate):
    allowed = strength_for(likeness)
    smooth = steady_strengths(allowed, rate=rate)
    assert smooth.shape == likeness.shape
    assert (smooth <= allowed).all()
    assert (smooth >= 0).all()


@given(st.floats(FLOOR, 1), st.integers(1, 100))
def test_a_face_that_stays_itself_is_used_whole(likeness, n):
    smooth = steady_strengths(strength_for(np.full(n, likeness)), rate=25.0)
    np.testing.assert_allclose(smooth, 1.0)


def test_one_bad_frame_does_not_pop():
    likeness = np.full(100, 0.9)
    likeness[50] = NOBODY
    smooth = steady_strengths(strength_for(likeness), rate=25.0)
    assert smooth[50] < 1e-9
    assert smooth[20] > 0.999
    assert np.abs(np.diff(smooth)).max() < 0.25
