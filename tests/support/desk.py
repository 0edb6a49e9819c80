"""Pages of the support desk."""

from phones.models import PhoneNumber

LIST = "/admin/phones/phonenumber/"


def page_of(phone: PhoneNumber) -> str:
    return f"{LIST}{phone.pk}/change/"
