"""Logins as the browsable API has them, and a view that counts in the session."""

from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.recipes import django_base


class Cart(APIView):
    """Holds what the user has chosen, in the session."""

    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response({"user": request.user.get_username(), "cart": self.cart(request)})

    def post(self, request: Request) -> Response:
        cart = request.session.setdefault("cart", [])
        cart.append(request.data["item"])
        return self.get(request)

    def cart(self, request: Request) -> list[str]:
        return list(request.session.get("cart", ()))


urlpatterns = [
    *django_base.urlpatterns,
    path("cart", Cart.as_view()),
    path("api-auth/", include("rest_framework.urls")),
]
