import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.core.target_source import TargetSource, parse_source, parse_source_file

WORDS = [
    "models/central",
    "s3://bucket/a,b/model.h5",
    "s3://bucket/m.h5,architecture=i3d,shape=24x256x256,classes=3,protocol=flprivacy-2023",
    "gs://bucket/m.keras,feature_layer=on,topology=federated,partition=iid,epsilon=8.0,delta=1e-05",
    's3://bucket/m.h5,architecture=i3d,training={"topology": "central", "epochs": 50, "privacy": null}',
    "models:/chest@live,allow_partial=true,weights_only=true",
    "runs:/0123/model,role=baseline,topology=pretrained,trunk_layer=i3d_inception,n_train=10,synthetic_share=0.5",
]


@pytest.mark.parametrize("word", WORDS)
def test_words_are_read_and_written(word):
    source = parse_source(word)
    assert parse_source(str(source)) == source
    assert sorted(str(source).split(",")) == sorted(word.split(","))


def test_facts():
    source = parse_source(WORDS[2])
    assert source == TargetSource(
        location="s3://bucket/m.h5", architecture="i3d", shape=(24, 256, 256), classes=3, protocol="flprivacy-2023"
    )
    assert source.facts() == {
        "architecture": "i3d",
        "shape": [24, 256, 256],
        "classes": 3,
        "protocol": "flprivacy-2023",
    }
    kinds = [(s.is_foreign, s.is_mlflow, s.is_custom) for s in map(parse_source, WORDS)]
    assert kinds == [
        (False, False, False),
        (True, False, False),
        (True, False, False),
        (True, False, True),
        (True, False, False),
        (False, True, False),
        (False, True, False),
    ]


@pytest.mark.parametrize(
    ("word", "match"),
    [
        ("", "location is ''; give a path or URI"),
        ("m.h5,size=3", "unknown field 'size'"),
        ("m.h5,shape=24x256", "shape is '24x256'; write it as DEPTHxHEIGHTxWIDTH"),
        ("m.h5,shape=0x1x1", "shape is .*; must be positive"),
        ("m.h5,classes=one", "classes: expected int, got 'one'"),
        ("m.h5,classes=1", "classes is 1; must be at least 2"),
        ("m.h5,protocol=own", "protocol is 'own'; must be one of standard"),
        ("m.h5,role=judge", "role is 'judge'"),
        ("m.h5,topology=untrained", "topology is 'untrained'; must be one of pretrained"),
        ("m.h5,partition=iid", "partition is 'iid'; must be natural or iid, of a federated target"),
        ("m.h5,epsilon=-1", "epsilon is -1.0; must be positive"),
        ("m.h5,architecture=custom", "feature_layer belongs to a network of your own"),
        ("m.keras,architecture=i3d,feature_layer=x", "feature_layer belongs to a network of your own"),
        ("m.h5,classes=2,classes=3", "classes is given twice"),
        ("m.h5,n_train=[", "n_train='\\[' is not a value"),
    ],
)
def test_wrong_words(word, match):
    with pytest.raises(ConfigError, match=match) as caught:
        parse_source(word)
    assert "\n" not in str(caught.value)


def test_yaml():
    text = "location: old.h5\narchitecture: i3d\nshape: [24, 256, 256]\nallow_partial: true\n"
    assert parse_source_file(text, "t.yaml") == parse_source(
        "old.h5,architecture=i3d,shape=24x256x256,allow_partial=true"
    )
    assert parse_source_file("location: old.h5\nshape: 24x64x64", "t.yaml").shape == (24, 64, 64)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "location: 3", "a: [", "location: !!python/object/apply:os.system [exit]", "location: x\nsize: 1"],
)
def test_yaml_that_is_no_target(text):
    with pytest.raises(ConfigError, match=r"^t\.yaml: "):
        parse_source_file(text, "t.yaml")
