from django.urls import path

from phones.call_views import CallsView, CallView, PhoneCallsView, RecordingMediaView
from phones.views import AddPhoneView

urlpatterns = [
    path("add-phone", AddPhoneView.as_view(), name="add-phone"),
    path("phones/<str:id>/calls", PhoneCallsView.as_view()),
    path("calls", CallsView.as_view()),
    path("calls/<str:id>", CallView.as_view()),
    path("recordings/<str:id>/media", RecordingMediaView.as_view()),
]
