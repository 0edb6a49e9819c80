from django.urls import path

from phones.views import AddPhoneView

urlpatterns = [path("add-phone", AddPhoneView.as_view(), name="add-phone")]
