from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from project.webhooks import urls_of

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("", include("monitoring.urls")),
    path("admin/", admin.site.urls),
    *urls_of(settings.MAIL_PROVIDER, settings.ANYMAIL["WEBHOOK_SECRET"]),
]
