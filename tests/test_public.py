"""What `import facerestore` offers to programs."""

from importlib import import_module

import facerestore


def test_restore_is_the_function_whatever_was_imported_before():
    import_module("facerestore.restore")
    import_module("facerestore.batch")
    from facerestore import restore

    assert callable(restore)
    assert restore is facerestore.restore


def test_every_public_name_is_there():
    for name in facerestore.__all__:
        assert getattr(facerestore, name) is not None
