"""The words of the customer page, in each language. A value in braces is filled in by `text`."""

from collections.abc import Mapping

from billing.domain.messages import Language
from billing.domain.paying import Standing

EN, MS = Language.ENGLISH, Language.MALAY
OTHER = {EN: MS, MS: EN}
NAMES = {EN: "English", MS: "Bahasa Melayu"}

WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Your payments", "Bayaran anda"),
    "owed": ("To pay", "Perlu dibayar"),
    "nothing_owed": ("You owe nothing. Thank you.", "Anda tiada bayaran tertunggak. Terima kasih."),
    "total": ("Total {amount}", "Jumlah {amount}"),
    "due": ("Due {day}", "Perlu dibayar pada {day}"),
    "declined": ("Declined on {day}. {why}", "Ditolak pada {day}. {why}"),
    "next_try": ("We try again on {day}.", "Kami akan cuba lagi pada {day}."),
    "pay": ("Pay {amount} now", "Bayar {amount} sekarang"),
    "other_way": ("Pay another way", "Bayar dengan cara lain"),
    "other_way_on": ("Continue the payment", "Teruskan pembayaran"),
    "other_ways": (
        "FPX online banking, DuitNow, an e-wallet or another card, on the bank's secure page.",
        "Perbankan dalam talian FPX, DuitNow, e-dompet atau kad lain, di halaman bank yang selamat.",
    ),
    "charged_on": ("Charged to the card ending in {card}.", "Dicaj pada kad yang berakhir dengan {card}."),
    "charged": ("Charged to your saved card.", "Dicaj pada kad yang disimpan."),
    "card": ("Your card", "Kad anda"),
    "card_ending": ("Card ending in {card}", "Kad berakhir dengan {card}"),
    "card_saved": ("A saved card", "Kad yang disimpan"),
    "no_card": ("No card is saved.", "Tiada kad disimpan."),
    "replace": ("Use another card", "Guna kad lain"),
    "save": ("Save a card", "Simpan kad"),
    "replace_explain": (
        "You enter it on the bank's secure page. What you owe is then charged to it, and later payments too.",
        (
            "Anda memasukkannya di halaman bank yang selamat. Bayaran tertunggak akan dicaj pada kad itu, begitu juga "
            "bayaran akan datang."
        ),
    ),
    "save_explain": (
        (
            "You enter it on the bank's secure page. Nothing is charged when you save it. Later payments are charged "
            "to it."
        ),
        (
            "Anda memasukkannya di halaman bank yang selamat. Tiada caj dikenakan semasa kad disimpan. Bayaran akan "
            "datang dicaj pada kad itu."
        ),
    ),
    "first_explain": (
        "You enter it on the bank's secure page. Your first payment is charged to it at once, and later payments too.",
        (
            "Anda memasukkannya di halaman bank yang selamat. Bayaran pertama anda akan terus dicaj pada kad itu, "
            "begitu juga bayaran akan datang."
        ),
    ),
    "subscriptions": ("Your subscriptions", "Langganan anda"),
    "next_charge": ("Next payment {day}", "Bayaran seterusnya {day}"),
    "no_next_charge": ("No payment is planned", "Tiada bayaran dirancang"),
    "cancel": ("Cancel subscription", "Batalkan langganan"),
    "cancel_title": ("Cancel {what}?", "Batalkan {what}?"),
    "cancel_explain": (
        "It ends now, and no further payment falls due. It cannot be undone.",
        "Langganan tamat sekarang dan tiada bayaran baharu. Tindakan ini tidak boleh dibatalkan.",
    ),
    "cancel_owed": (
        "{amount} from before stays owed. It is not charged automatically any more; you can pay it on this page.",
        (
            "{amount} daripada sebelum ini masih perlu dibayar. Jumlah itu tidak akan dicaj secara automatik lagi; "
            "anda boleh membayarnya di halaman ini."
        ),
    ),
    "cancel_under_way": (
        "A payment that is being processed is not stopped.",
        "Bayaran yang sedang diproses tidak dihentikan.",
    ),
    "cancel_yes": ("Yes, cancel it", "Ya, batalkan"),
    "keep": ("Keep it", "Kekalkan"),
    "paid": ("Paid", "Telah dibayar"),
    "paid_on": ("Paid {day}", "Dibayar {day}"),
    "receipt": ("Receipt", "Resit"),
    "receipt_number": ("Number", "Nombor"),
    "receipt_date": ("Paid on", "Dibayar pada"),
    "receipt_for": ("For", "Untuk"),
    "receipt_amount": ("Amount", "Jumlah"),
    "receipt_how": ("Paid with", "Dibayar dengan"),
    "receipt_refunded": ("Refunded", "Dibayar balik"),
    "receipt_kept": ("Net amount", "Jumlah bersih"),
    "receipt_print": (
        "Print this page, or save it as a PDF, with your browser.",
        "Cetak halaman ini, atau simpan sebagai PDF, dengan pelayar anda.",
    ),
    "by_card": ("Card", "Kad"),
    "by_card_ending": ("Card ending in {card}", "Kad berakhir dengan {card}"),
    "by_page": ("Online payment", "Bayaran dalam talian"),
    "by_cash": ("Cash", "Tunai"),
    "by_bank_transfer": ("Bank transfer", "Pindahan bank"),
    "by_other": ("Another payment", "Bayaran lain"),
    "by_gateway": ("Card", "Kad"),
    "back": ("Back", "Kembali"),
    "check_again": ("Check again", "Semak semula"),
    "language": ("Language", "Bahasa"),
    "foot": (
        "Whoever has this link can see this page. Do not share it.",
        "Sesiapa yang mempunyai pautan ini boleh melihat halaman ini. Jangan kongsikannya.",
    ),
    "gone": ("This link no longer works", "Pautan ini tidak lagi berfungsi"),
    "gone_explain": (
        "It has expired or was replaced. Please ask the merchant for a new one.",
        "Pautan telah tamat tempoh atau diganti. Sila minta pautan baharu daripada peniaga.",
    ),
    "busy": ("Too many requests", "Terlalu banyak permintaan"),
    "busy_explain": (
        "Nothing was changed. Please try again in ten minutes.",
        "Tiada apa-apa yang berubah. Sila cuba lagi dalam sepuluh minit.",
    ),
}

# What the page says of an invoice that cannot be paid with a button now.
OF_STANDING: Mapping[Standing, tuple[str, str]] = {
    Standing.PROCESSING: (
        "This payment is being processed. You do not need to pay again.",
        "Bayaran ini sedang diproses. Anda tidak perlu membayar lagi.",
    ),
    Standing.BEING_CHECKED: (
        "We are checking with the bank whether this payment went through. You do not need to pay again.",
        "Kami sedang menyemak dengan bank sama ada bayaran ini berjaya. Anda tidak perlu membayar lagi.",
    ),
    Standing.BEHIND_ANOTHER: (
        "Another payment with this card is being processed first.",
        "Satu lagi bayaran dengan kad ini sedang diproses dahulu.",
    ),
    Standing.ON_A_PAGE: (
        "You opened a page to pay this. Your card is not charged meanwhile. If you have paid there, do not pay again.",
        (
            "Anda telah membuka halaman untuk membayarnya. Kad anda tidak dicaj sementara itu. Jika sudah dibayar di "
            "situ, jangan bayar lagi."
        ),
    ),
    Standing.IN_REVIEW: (
        "The merchant is looking into this payment. You do not need to do anything now.",
        "Peniaga sedang menyemak bayaran ini. Anda tidak perlu berbuat apa-apa sekarang.",
    ),
    Standing.CARD_NEEDED: (
        "To pay this, save a card below.",
        "Untuk membayar, sila simpan kad di bawah.",
    ),
    Standing.NOT_NOW: (
        "Payments cannot be made at the moment. Please come back later.",
        "Bayaran tidak dapat dibuat buat masa ini. Sila kembali kemudian.",
    ),
}

# What came of the last act, by the word that the page's address carries.
NOTES: Mapping[str, tuple[str, str]] = {
    "paying": (
        "Thank you. Your card is charged once, in a moment.",
        "Terima kasih. Kad anda akan dicaj sekali, sebentar lagi.",
    ),
    "changed": (
        "Something changed since you opened the page. Nothing was done. Please look again.",
        "Ada perubahan sejak anda membuka halaman ini. Tiada tindakan diambil. Sila lihat semula.",
    ),
    "not_possible": (
        "That is not possible at the moment. Nothing was changed.",
        "Tindakan itu tidak dapat dibuat buat masa ini. Tiada apa-apa yang berubah.",
    ),
    "bank_away": (
        "We could not reach the bank just now. Nothing was changed. Please try again in a moment.",
        "Kami tidak dapat menghubungi bank buat masa ini. Tiada apa-apa yang berubah. Sila cuba sebentar lagi.",
    ),
    "page_paid": ("Thank you. We have received your payment.", "Terima kasih. Kami telah menerima bayaran anda."),
    "page_open": (
        "We are checking your payment. If you have paid, please do not pay again.",
        "Kami sedang menyemak bayaran anda. Jika anda telah membayar, sila jangan bayar sekali lagi.",
    ),
    "page_closed": ("Nothing was paid. You can try again.", "Tiada bayaran dibuat. Anda boleh cuba lagi."),
    "canceled": ("Your subscription is cancelled.", "Langganan anda telah dibatalkan."),
    "card_active": ("Your card is saved.", "Kad anda telah disimpan."),
    "card_pending": (
        "We are checking your card. Look again in a moment.",
        "Kami sedang menyemak kad anda. Sila lihat semula sebentar lagi.",
    ),
    "card_failed": ("Your card was not saved. You can try again.", "Kad anda tidak disimpan. Anda boleh cuba lagi."),
    "card_revoked": ("This card is no longer in use.", "Kad ini tidak lagi digunakan."),
    "card_cancelled": ("You did not save a card.", "Anda tidak menyimpan kad."),
}


def text(key: str, language: Language, **values: str) -> str:
    return _in(WORDS[key], language).format(**values)


def of_standing(found: Standing, language: Language) -> str:
    return _in(OF_STANDING[found], language) if found in OF_STANDING else ""


def note(name: str, language: Language) -> str:
    """ "" for a word that the page does not know."""
    return _in(NOTES[name], language) if name in NOTES else ""


def all_of(language: Language) -> dict[str, str]:
    """The words without values, for a template."""
    return {key: _in(both, language) for key, both in WORDS.items() if "{" not in both[0]}


def _in(both: tuple[str, str], language: Language) -> str:
    return both[0] if language is EN else both[1]
