"""The paper of a statement: A4, its fonts, its rows and columns, and the numbers of its pages.

Words may be in any script: HarfBuzz joins Arabic letters and the text runs in its own direction. A
font is loaded only when a letter needs it, the East Asian one (three megabytes) last. Money has as
many decimals as the longest amount needs, so that all points stand below each other and nothing is
rounded. Used by `licensing.bills.statement_pdf`.
"""

import unicodedata
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.enums import Align, WrapMode, XPos, YPos

from licensing.money import MICROS_PER_USD

FONTS = Path(__file__).parents[1] / "texts" / "fonts"
FALLBACK_FONTS = (
    "NotoSansArabic",
    "NotoSansHebrew",
    "NotoSansDevanagari",
    "NotoSansBengali",
    "NotoSansTamil",
    "NotoSansThai",
    "NotoSansGeorgian",
    "NotoSansArmenian",
    "DroidSansFallback",
)

MARGIN_MM = 20.0
WIDTH_MM = 210.0 - 2 * MARGIN_MM
ROW_MM = 6.4
LINE_MM = 4.6  # the second line of a long name
GAP_MM = 3.0
FOOT_MM = 18.0
ROWS_TOGETHER = 4  # a heading at the foot of a page without rows would be lost
DECIMALS_MIN = 2
UNKNOWN = "\ufffd"  # stands where no font has the letter, so that nothing is left out unseen
TEXT_PT, SMALL_PT, HEAD_PT, TITLE_PT = 9.5, 8.0, 11.5, 22.0

Colour = tuple[int, int, int]
INK: Colour = (21, 25, 26)
MUTED: Colour = (92, 102, 104)
RULE: Colour = (208, 213, 213)
ACCENT: Colour = (11, 110, 85)

Column = tuple[str, float, Align]


class Sheet(FPDF):
    """The pages, and what is written on them from top to bottom."""

    def __init__(self, *, title: str, made_at: datetime, letters: str, decimals: int) -> None:
        """`letters` are all that will be written; `decimals` (0 to 6) are those of money."""
        super().__init__(format="A4", unit="mm")
        self.decimals = decimals
        self.c_margin = 0
        self.set_margin(MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=FOOT_MM + ROW_MM)
        self.set_creation_date(made_at)
        self.set_title(title)
        self.set_lang("en")
        self._load_fonts(set(letters))
        self.set_text_shaping(use_shaping_engine=True, features={"tnum": True})
        self.add_page()

    def _load_fonts(self, missing: set[str]) -> None:
        self.add_font("plain", "", FONTS / "NotoSans-Regular.ttf")
        self.add_font("plain", "B", FONTS / "NotoSans-SemiBold.ttf")
        missing = missing - _letters_of("NotoSans-Regular")
        loaded = []
        for name in FALLBACK_FONTS:
            if not missing:
                break
            if missing & (letters := _letters_of(name)):
                self.add_font(name, "", FONTS / f"{name}.ttf")
                loaded.append(name)
                missing -= letters
        self.set_fallback_fonts(loaded, exact_match=False)
        self.unknown = dict.fromkeys(map(ord, missing), UNKNOWN)

    def letter(self, points: float, *, bold: bool = False, colour: Colour = INK) -> None:
        """Choose size, weight and colour of what is written next."""
        self.set_font("plain", "B" if bold else "", points)
        self.set_text_color(*colour)

    def put(self, width: float, height: float, words: str, align: Align = Align.L) -> None:
        """Write into a cell; the next one stands right of it."""
        words = words.translate(self.unknown)
        # The library forgets that a fallback font's colour group ended the font that was set.
        self.current_font_is_set_on_page = False
        self.cell(width, height, words, align=align, new_x=XPos.RIGHT, new_y=YPos.TOP)

    def line_of(self, words: str, height: float = LINE_MM) -> None:
        """Write lines over the whole width."""
        for line in self.lines(words, WIDTH_MM):
            self.put(WIDTH_MM, height, line)
            self.ln(height)

    def lines(self, words: str, width: float) -> list[str]:
        """Break words that are wider than `width` (mm)."""
        if self.get_string_width(words) <= width:
            return [words]
        mode = self._wrap_mode(words, width)
        broken = self.multi_cell(width, LINE_MM, words, dry_run=True, output="LINES", wrapmode=mode)
        assert isinstance(broken, list)
        return [str(line) for line in broken]

    def _wrap_mode(self, words: str, width: float) -> WrapMode:
        longest = max(self.get_string_width(word) for word in words.split(" "))
        return WrapMode.CHAR if longest > width else WrapMode.WORD

    def rule(self, colour: Colour = RULE) -> None:
        """Draw a line across the page."""
        self.set_draw_color(*colour)
        self.set_line_width(0.2)
        self.line(MARGIN_MM, self.get_y(), MARGIN_MM + WIDTH_MM, self.get_y())

    def heading(self, words: str) -> None:
        """Begin a section; never as the last line of a page."""
        if self.will_page_break(14 + ROWS_TOGETHER * ROW_MM):
            self.add_page()
        else:
            self.ln(7)
        self.letter(HEAD_PT, bold=True)
        self.put(WIDTH_MM, 7, words)
        self.ln(7)

    def head_of(self, columns: Iterable[Column]) -> None:
        """Write the head of a table."""
        self.letter(SMALL_PT, colour=MUTED)
        for words, width, align in columns:
            self.put(width, ROW_MM, words, align)
        self.ln(ROW_MM)
        self.rule()

    def row(
        self, columns: list[Column], cells: list[str], *, note: str = "", bold: bool = False
    ) -> None:
        """Write one row. Its first cell may take more lines; `note` is small, after or below it.

        A row that begins a page is below the table's head again.
        """
        room = columns[0][1] - GAP_MM
        self.letter(TEXT_PT, bold=bold)
        names = self.lines(cells[0], room)
        taken = self.get_string_width(names[-1]) + GAP_MM if cells[0] else 0.0
        self.letter(SMALL_PT)
        is_beside = len(names) == 1 and taken + self.get_string_width(note) <= room
        notes = [] if not note or is_beside else self.lines(note, room)
        height = ROW_MM + LINE_MM * (len(names) + len(notes) - 1)
        if self.will_page_break(height):
            self.add_page()
            if columns[0][0]:
                self.head_of(columns)
        top = self.get_y()
        self.letter(SMALL_PT, colour=MUTED)
        if note and is_beside:
            self.set_xy(MARGIN_MM + taken, top + 0.15)
            self.put(room - taken, ROW_MM, note)
        for number, words in enumerate(notes, len(names)):
            self.set_xy(MARGIN_MM, top + number * LINE_MM)
            self.put(room, ROW_MM, words)
        self.letter(TEXT_PT, bold=bold)
        for number, words in enumerate(names):
            self.set_xy(MARGIN_MM, top + number * LINE_MM)
            self.put(room, ROW_MM, words)
        self.set_xy(MARGIN_MM + columns[0][1], top)
        for (_, width, align), words in zip(columns[1:], cells[1:], strict=True):
            self.put(width, ROW_MM, words, align)
        self.set_xy(MARGIN_MM, top + height)

    def number_pages(self, words: str) -> None:
        """Write `words` and the page's number at the foot of every page: the last thing to do."""
        self.set_auto_page_break(auto=False)
        count = self.pages_count
        for number in range(1, count + 1):
            self.page = number
            self.set_xy(MARGIN_MM, -FOOT_MM)
            self.letter(SMALL_PT, colour=MUTED)
            self.put(WIDTH_MM - 40, 5, words)
            self.put(40, 5, f"Page {number} of {count}", Align.R)

    def money(self, amount_micros: int) -> str:
        """Write an amount with this paper's decimals and a real minus sign."""
        dollars, micros = divmod(abs(amount_micros), MICROS_PER_USD)
        decimals = f"{micros:06d}"[: self.decimals]
        sign = "\u2212" if amount_micros < 0 else ""
        return f"{sign}${dollars:,}.{decimals}"


def _letters_of(name: str) -> set[str]:
    with TTFont(FONTS / f"{name}.ttf", lazy=True) as font:
        return {chr(code) for code in font.getBestCmap()}


def decimals_of(amounts_micros: Iterable[int]) -> int:
    """The decimals (2 to 6) that write all of the amounts exactly."""
    written = (f"{abs(amount) % MICROS_PER_USD:06d}".rstrip("0") for amount in amounts_micros)
    return max(DECIMALS_MIN, max((len(digits) for digits in written), default=0))


def clean(words: str) -> str:
    """Words of people on one line: letters and joiners stay, controls and direction marks go."""
    return " ".join("".join(_kept(letter) for letter in words).split())


def _kept(letter: str) -> str:
    category = unicodedata.category(letter)
    if category in {"Cc", "Zl", "Zp"}:
        return " "
    return "" if category in {"Cf", "Cs"} and letter not in "\u200c\u200d" else letter
