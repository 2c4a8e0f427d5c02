import folder_picture


def test_the_picture_of_the_folders_shows_the_contracts_of_import_linter():
    assert folder_picture.PICTURE.read_text() == folder_picture.picture(), "python tests/folder_picture.py writes it"
