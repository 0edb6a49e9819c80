"""Door 2: the support desk. It calls the same services as the API and shows their results."""

from django.contrib import admin

from phones.desk.import_admin import ImportAdmin
from phones.desk.number_admin import PhoneNumberAdmin
from phones.models import Import, PhoneNumber

admin.site.register(PhoneNumber, PhoneNumberAdmin)
admin.site.register(Import, ImportAdmin)
