"""How templates write our values."""

from django import template

from phones.numbers import readable

register = template.Library()
register.filter("readable", readable)
