from django.urls import path

from phones.api.call_views import CallsView, CallView, PhoneCallsView, RecordingMediaView
from phones.api.user_views import MeView, UsersView
from phones.api.views import AddPhoneView, AvailablePhonesView, CheckPhoneView, PhonesView, PhoneView

urlpatterns = [
    path("add-phone", AddPhoneView.as_view(), name="add-phone"),
    path("available-phones", AvailablePhonesView.as_view()),
    path("phones", PhonesView.as_view()),
    path("phones/<str:id>", PhoneView.as_view()),
    path("phones/<str:id>/check", CheckPhoneView.as_view()),
    path("phones/<str:id>/calls", PhoneCallsView.as_view()),
    path("calls", CallsView.as_view()),
    path("calls/<str:id>", CallView.as_view()),
    path("recordings/<str:id>/media", RecordingMediaView.as_view()),
    path("users", UsersView.as_view()),
    path("me", MeView.as_view()),
]
