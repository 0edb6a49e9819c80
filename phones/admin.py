"""Door 2: the support desk. It asks the same services as the API and shows what they say."""

from django.contrib import admin

from phones.import_admin import ImportAdmin
from phones.models import Import, PhoneNumber
from phones.number_admin import PhoneNumberAdmin

admin.site.register(PhoneNumber, PhoneNumberAdmin)
admin.site.register(Import, ImportAdmin)
