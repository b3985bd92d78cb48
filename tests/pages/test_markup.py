from unpool.pages.markup import Markup, element, escaped, joined


def test_text_is_escaped_and_markup_is_not():
    assert escaped("<script>&\"'") == "&lt;script&gt;&amp;&quot;&#x27;"
    assert escaped(Markup("<b>")) == "<b>"


def test_element_escapes_children_and_attributes():
    made = element("p", {"title": '"><script>', "class": None}, "<b>", element("i", None, 3))
    assert made == '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;<i>3</i></p>'


def test_elements_without_an_inside_are_not_closed():
    assert element("img", {"src": "data:,"}) == '<img src="data:,">'


def test_text_joined_to_markup_is_no_markup_until_it_is_escaped():
    assert not isinstance(Markup("<b>") + "<i>", Markup)
    assert joined(Markup("<b>"), "<i>") == "<b>&lt;i&gt;"


def test_marks_that_hide_or_turn_a_name_are_made_visible():
    assert escaped("a\u202egpj.exe\x00\u200b\r") == r"a\u202egpj.exe\x00\u200b\r"


def test_names_that_are_no_utf8_can_be_written():
    assert escaped(b"\xff.jpg".decode("utf-8", "surrogateescape")).encode("utf-8") == rb"\udcff.jpg"


def test_letters_of_all_scripts_stay():
    assert escaped("straße 猫 é") == "straße 猫 é"
